"""The Django project and its pages: the top layer."""
