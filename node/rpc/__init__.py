"""What a node tells its clients: JSON-RPC over HTTP, subscriptions over WebSocket, health and metrics.

Start with `server.py` (the socket), then `dispatch.py` (one request), then the namespaces: one module each.
"""
