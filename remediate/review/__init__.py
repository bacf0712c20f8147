"""The review pages: server-rendered, without JavaScript, behind Identity-Aware Proxy.

In: HTTP requests. Out: pages, redirects, downloads; what a reviewer decides goes to `service`. `wiring` imports from
here.
"""
