"""The asynchronous request path. No ORM and no Django: everything it needs is handed to it."""
