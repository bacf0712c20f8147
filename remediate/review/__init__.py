"""The review pages: server-rendered, without JavaScript, behind Identity-Aware Proxy.

In: HTTP requests. Out: pages, redirects, downloads, and decisions that go to `service`. `wiring` imports from
here.
"""
