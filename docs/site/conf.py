"""Sphinx's settings; `build.py` runs it on a copy of the pages."""

project = "Kurve"
author = "The Kurve developers"
copyright = "the Kurve developers, BSD 3-clause licence"
extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
# JSON and text blocks are what they are called; nothing is guessed.
highlight_language = "text"
copybutton_prompt_text = "$ "

html_theme = "pydata_sphinx_theme"
html_title = "Kurve"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_extra_path = ["extra"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
