"""The login page: plain HTML, no scripts."""

from ui.page_text import escape
from ui.theme import ICON, LOGIN_CSS


def login_html(shop_name: str, *, login: str = "", problem: str = "") -> str:
    """The login form, with what was wrong with the last try."""
    alert = f'<p class="alert" role="alert">{escape(problem)}</p>' if problem else ""
    shop = escape(shop_name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>Log in - {shop}</title>
<link rel="icon" href="{ICON}">
<style>{LOGIN_CSS}</style>
</head>
<body>
<main>
<p class="brand"><span class="mark" aria-hidden="true">P</span>Patron</p>
<h1>Welcome back</h1>
<p class="shop">Log in to {shop}</p>
{alert}
<form method="post" action="/login">
<label for="login">Login</label>
<input id="login" name="login" value="{escape(login)}" autocomplete="username"
 autocapitalize="none" spellcheck="false" maxlength="64" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"
 maxlength="200" required>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
"""
