"""Colours, type and layout of the page and of the login form."""

INK = "#1c2430"
QUIET = "#5a6472"
LINE = "#dfe3e8"
GROUND = "#f5f6f8"
SURFACE = "#ffffff"
ACCENT = "#1f5f5b"
ACCENT_DARK = "#174a47"
FONTS = ("Inter", "ui-sans-serif", "system-ui", "sans-serif")

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28'%3E"
    "%3Crect width='28' height='28' rx='8' fill='%231f5f5b'/%3E%3Ctext x='14' y='20' fill='white' "
    "font-family='sans-serif' font-weight='700' font-size='16' text-anchor='middle'%3EP"
    "%3C/text%3E%3C/svg%3E"
)

_FAMILY = 'Inter, ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'

_BRAND = f"""
.brand {{ display: flex; align-items: center; gap: 10px; margin: 0; font-weight: 650;
  letter-spacing: -0.01em; font-size: 18px; color: {INK}; }}
.brand .mark {{ display: inline-grid; place-items: center; width: 28px; height: 28px;
  border-radius: 8px; background: {ACCENT}; color: #fff; font-size: 15px; font-weight: 700; }}
"""

LOGIN_CSS = f"""
{_BRAND}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: {GROUND};
  color: {INK}; font: 16px/1.5 {_FAMILY}; padding: 20px; }}
main {{ width: 100%; max-width: 380px; background: {SURFACE}; border: 1px solid {LINE};
  border-radius: 16px; padding: 32px; box-shadow: 0 12px 32px rgba(28, 36, 48, .06); }}
h1 {{ font-size: 24px; line-height: 1.25; margin: 28px 0 4px; letter-spacing: -0.02em; }}
.shop {{ margin: 0 0 24px; color: {QUIET}; }}
label {{ display: block; font-size: 14px; font-weight: 550; margin: 16px 0 6px; }}
input {{ width: 100%; padding: 11px 12px; font: inherit; color: inherit; background: {SURFACE};
  border: 1px solid #8b95a3; border-radius: 8px; }}
input:focus {{ outline: 2px solid {ACCENT}; outline-offset: 1px; border-color: {ACCENT}; }}
button {{ width: 100%; margin-top: 24px; padding: 12px; font: inherit; font-weight: 600;
  color: #fff; background: {ACCENT}; border: 0; border-radius: 8px; cursor: pointer; }}
button:hover {{ background: {ACCENT_DARK}; }}
button:focus-visible {{ outline: 2px solid {ACCENT}; outline-offset: 2px; }}
.alert {{ margin: 0; padding: 10px 12px; border-radius: 8px; background: #fdf0ee; color: #8f2416;
  font-size: 14px; }}
"""

PAGE_CSS = f"""
{_BRAND}
body, gradio-app, .gradio-container {{ background: {GROUND} !important; color: {INK};
  font-family: {_FAMILY} !important; }}
.gradio-container main.app, .gradio-container .main {{ padding: 0 24px 24px !important;
  max-width: 1680px !important; margin: 0 auto !important; }}
footer {{ display: none !important; }}
.gradio-container .prose, .gradio-container .html-container {{ color: {INK}; max-width: none;
  overflow: visible; }}
.top {{ display: flex; align-items: center; gap: 16px; padding: 14px 0;
  border-bottom: 1px solid {LINE}; margin-bottom: 4px; }}
.top p {{ margin: 0; }}
.top .shop {{ color: {QUIET}; padding-left: 16px; border-left: 1px solid {LINE}; }}
.top .who {{ margin-left: auto; font-size: 14px; }}
.top .role {{ color: {QUIET}; }}
.top form {{ margin: 0; }}
.top button {{ font: inherit; font-size: 14px; color: {ACCENT}; background: none; border: 0;
  padding: 6px 2px; cursor: pointer; text-decoration: underline; text-underline-offset: 3px; }}
.columns {{ gap: 20px !important; align-items: flex-start !important; }}
.columns > .column {{ gap: 16px !important; }}
.card {{ background: {SURFACE}; border: 1px solid {LINE}; border-radius: 14px; padding: 20px;
  font-size: 14px; line-height: 1.5; }}
.card h1 {{ font-size: 20px; line-height: 1.3; font-weight: 650; letter-spacing: -0.015em;
  margin: 0; color: {INK}; overflow-wrap: anywhere; }}
.card h2, .section-head h2 {{ font-size: 15px; font-weight: 620; margin: 0; color: {INK};
  overflow-wrap: anywhere; }}
.card h3 {{ font-size: 13px; font-weight: 600; margin: 18px 0 8px; color: {QUIET}; }}
.card p {{ margin: 6px 0 0; }}
.quiet {{ color: {QUIET} !important; font-size: 13px; }}
.title-row {{ display: flex; align-items: flex-start; justify-content: space-between;
  gap: 12px; }}
.chip {{ display: inline-block; background: #eaf1f0; color: {ACCENT_DARK}; border-radius: 999px;
  padding: 2px 10px; font-size: 12.5px; font-weight: 550; white-space: nowrap; }}
.chips {{ display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }}
.chips:empty {{ display: none; }}
.score {{ border-top: 1px solid {LINE}; margin-top: 16px; padding-top: 14px; }}
.score-line {{ display: flex; align-items: baseline; justify-content: space-between; gap: 8px; }}
.score-line p {{ margin: 0; display: flex; align-items: baseline; gap: 10px; }}
.big {{ font-size: 24px; font-weight: 650; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }}
.word {{ font-size: 13px; font-weight: 600; }}
.word.low {{ color: #22663b; }} .word.raised {{ color: #855200; }} .word.high {{ color: #a52a1a; }}
.meter {{ height: 8px; border-radius: 4px; background: #e8ebef; overflow: hidden; margin: 8px 0; }}
.meter span {{ display: block; height: 100%; border-radius: 4px; }}
.meter .low {{ background: #2f8650; }} .meter .raised {{ background: #c98310; }}
.meter .high {{ background: #c23b29; }}
.card ul {{ list-style: none; padding: 0; margin: 8px 0 0; }}
.tiers li {{ display: grid; grid-template-columns: minmax(56px, auto) 1fr 40px; gap: 10px;
  align-items: center; padding: 2px 0; margin: 0; color: {QUIET};
  font-variant-numeric: tabular-nums; }}
.tiers li.chosen {{ color: {INK}; font-weight: 600; }}
.tiers li > :last-child {{ text-align: right; }}
.bar {{ height: 6px; border-radius: 3px; background: #e8ebef; overflow: hidden; }}
.bar span {{ display: block; height: 100%; background: #9db4b2; }}
.chosen .bar span {{ background: {ACCENT}; }}
.drivers li {{ display: grid; grid-template-columns: minmax(0, 1fr) 96px 28px; gap: 10px;
  align-items: center; padding: 4px 0; margin: 0; }}
.drivers .quiet {{ display: block; font-size: 12px; line-height: 1.4; overflow-wrap: anywhere; }}
.drivers li > :last-child {{ text-align: right; font-weight: 600;
  font-variant-numeric: tabular-nums; white-space: nowrap; }}
.pull {{ position: relative; height: 10px; background: linear-gradient(#b7bec8, #b7bec8) center /
  1px 100% no-repeat, #eef1f4; border-radius: 3px; }}
.pull span {{ position: absolute; top: 1px; bottom: 1px; border-radius: 2px; }}
.pull .raises {{ left: 50%; background: #c23b29; }}
.pull .lowers {{ right: 50%; background: #2f8650; }}
.facts {{ display: grid; grid-template-columns: 1fr 1fr; gap: 12px 16px; margin: 16px 0 0; }}
.facts dt {{ color: {QUIET}; font-size: 13px; font-weight: 400; }}
.facts dd {{ margin: 0; font-size: 15px; font-weight: 600; font-variant-numeric: tabular-nums; }}
.facts dd.quiet {{ font-size: 13px; font-weight: 400; }}
.similar {{ border-top: 1px solid {LINE}; margin-top: 16px !important; padding-top: 14px; }}
.chart {{ width: 100%; height: auto; display: block; overflow: visible; }}
.chart rect {{ fill: {ACCENT}; }} .chart rect:hover {{ fill: #c98310; }}
.chart text {{ font-size: 10.5px; fill: {QUIET}; }}
.chart .grid {{ stroke: {LINE}; stroke-dasharray: 3 3; }} .chart .axis {{ stroke: #b7bec8; }}
.card table {{ width: 100%; border-collapse: collapse; font-size: 13px; margin: 0;
  border: 0 !important; }}
.card thead, .card tbody, .card tr {{ border: 0 !important; }}
.card th {{ text-align: left; color: {QUIET}; font-weight: 500; padding: 0 8px 6px 0; border: 0;
  border-bottom: 1px solid {LINE}; background: none; }}
.card td {{ vertical-align: top; padding: 8px 8px 8px 0; border: 0;
  border-bottom: 1px solid #edf0f3; overflow-wrap: anywhere; background: none; }}
.card td .quiet {{ display: block; font-size: 12px; }}
.card .date {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
.card .number {{ text-align: right; padding-right: 0; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
details {{ margin-top: 10px; font-size: 13px; }}
summary {{ cursor: pointer; color: {ACCENT}; font-weight: 550; }}
summary:focus-visible, .top button:focus-visible {{ outline: 2px solid {ACCENT};
  outline-offset: 2px; border-radius: 4px; }}
details pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: {GROUND}; color: {INK};
  border-radius: 8px; padding: 12px; margin: 8px 0 0; font-size: 12.5px; line-height: 1.55; }}
details ul {{ margin: 6px 0 0; padding-left: 0; list-style: none; color: {QUIET}; }}
details li {{ margin: 4px 0; overflow-wrap: anywhere; }}
.rules li::before {{ content: "✓"; color: #22663b; font-weight: 700; margin-right: 8px; }}
.rules li.failed::before {{ content: "✕"; color: #a52a1a; }}
.sr {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
.offer-title {{ font-size: 16px; font-weight: 620; }}
.accepted {{ border-color: #9fc7ae; background: #f3faf5; }}
.section-head {{ padding: 0 4px; font-size: 14px; }}
.section-head p {{ margin: 4px 0 0; }}
.block {{ box-shadow: none !important; }}
.filled, .html-container {{ padding: 0 !important; border: 0 !important;
  background: none !important; }}
.form:has(#customer-picker) {{ background: none !important; border: 0 !important; }}
#customer-picker {{ background: {SURFACE} !important; border: 1px solid {LINE} !important;
  border-radius: 14px !important; padding: 16px 20px !important; }}
#customer-picker .wrap {{ border-radius: 8px; }}
.side {{ gap: 14px !important; }}
.pick {{ background: {SURFACE}; border: 1px solid {LINE}; border-radius: 14px;
  padding: 16px 20px !important; gap: 12px !important; }}
.item {{ font-size: 14px; line-height: 1.5; }}
.item h3 {{ font-size: 14.5px; font-weight: 620; margin: 0; color: {INK};
  overflow-wrap: anywhere; }}
.item p {{ margin: 4px 0 0; overflow-wrap: anywhere; }}
.item .price {{ margin: 0; font-weight: 620; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
.judge {{ gap: 8px !important; }}
.judge button {{ flex: 0 0 auto !important; min-width: 0 !important; font-size: 13px !important;
  padding: 5px 14px !important; font-weight: 550 !important; border-radius: 999px !important;
  border: 1px solid #b7bec8 !important; }}
.judge button.primary {{ border-color: {ACCENT} !important; }}
#accept {{ border-radius: 10px; }}
.primary {{ border-color: {ACCENT} !important; }}
.talk {{ background: {SURFACE} !important; border: 1px solid {LINE} !important;
  border-radius: 14px !important; padding: 16px !important; gap: 12px !important; }}
.talk .block {{ border: 0 !important; background: none !important; }}
#chat, #chat .bubble-wrap {{ background: none !important; }}
#chat button[aria-label="Clear"] {{ display: none !important; }}
#chat .message {{ font-size: 14.5px !important; line-height: 1.55 !important;
  overflow-wrap: anywhere; border: 0 !important; border-radius: 14px !important;
  padding: 10px 14px !important; box-shadow: none !important; }}
#chat .message > * {{ padding: 0 !important; }}
#chat .message.user {{ background: #e4efee !important; color: {INK} !important; }}
#chat .message.bot {{ background: {GROUND} !important; color: {INK} !important; }}
#question textarea {{ border: 1px solid #8b95a3 !important; border-radius: 10px !important;
  padding: 10px 14px !important; background: {SURFACE} !important; }}
#question textarea:focus {{ outline: 2px solid {ACCENT}; outline-offset: 0; }}
#chat .icon-button-wrapper {{ display: none !important; }}
#send {{ border-radius: 10px; min-height: 43px; }}
.examples {{ gap: 8px !important; flex-wrap: wrap !important; }}
.examples button {{ flex: 0 1 auto !important; min-width: 0 !important; font-size: 13px !important;
  font-weight: 500 !important; padding: 6px 12px !important; border-radius: 999px !important; }}
.composer {{ gap: 10px !important; align-items: flex-end !important; }}
.notice {{ margin: 0; padding: 10px 14px; border-radius: 8px; background: #fdf0ee;
  color: #8f2416; font-size: 14px; }}
.footnote {{ margin: 0; padding: 0 4px; color: {QUIET}; font-size: 12.5px; }}
@media (max-width: 1100px) {{
  .columns {{ flex-wrap: wrap !important; }}
}}
@media (max-width: 760px) {{
  .gradio-container main.app, .gradio-container .main {{ padding: 0 12px 20px !important; }}
  .top {{ display: grid; grid-template-columns: 1fr auto; gap: 4px 12px; }}
  .top form {{ order: 1; text-align: right; }}
  .top .shop {{ order: 2; padding: 0; border: 0; }}
  .top .who {{ order: 3; text-align: right; }}
  .columns {{ flex-direction: column !important; align-items: stretch !important; }}
  .columns > .column {{ display: contents !important; }}
  .talk {{ order: 3; }}
  .later {{ order: 5; }}
  .side {{ order: 4; }}
}}
"""
