"""Text from logs, catalogues and conversations, made safe to show."""

import html
import re

# Control characters (but the line break) and those that turn the direction of writing.
_UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Gradio fills HTML through JavaScript and Handlebars templates, which must find none in the text.
_TEMPLATE_MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in "{}$`"})


def plain_text(text: str) -> str:
    """Text without control and direction characters."""
    return _UNSHOWN.sub(" ", text)


def escape(text: str) -> str:
    """Text as HTML that shows it literally, in elements and in quoted attributes."""
    return html.escape(plain_text(text), quote=True).translate(_TEMPLATE_MARKS)


def escape_message(text: str) -> str:
    """Text for the chat, which reads HTML but no templates and repeats it in a label."""
    return html.escape(plain_text(text), quote=False)
