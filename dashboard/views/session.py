from __future__ import annotations

from django.contrib.auth import views as auth_views

from dashboard.access import PUBLIC, access
from dashboard.forms import LoginForm

log_in = access(PUBLIC)(
    auth_views.LoginView.as_view(
        template_name="pages/login.html",
        authentication_form=LoginForm,
        redirect_authenticated_user=True,
    )
)
log_out = access(PUBLIC)(auth_views.LogoutView.as_view())
