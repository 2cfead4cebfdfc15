"""How Sphinx makes the site of the documents; `./lab docs` calls it."""

project = "Router keys"
extensions = ["myst_parser"]
root_doc = "index"
html_theme = "furo"
html_title = "Router keys"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
