"""The review pages: server-rendered, without JavaScript, behind Identity-Aware Proxy."""
