"""The Policy Server's HTTP API: what `policy` does on the command line, for programs and a web page.

Needs the extra `server` (FastAPI, uvicorn, Jinja2); no router and no DKS does.
"""
