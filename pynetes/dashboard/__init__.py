"""The dashboard: a web application between a person's browser and the API server, with that person's rights only.

app.py          the component: flags, TLS, routes
sessions.py     who is logged in; what proves it never leaves this process
credentials.py  what a person pastes: a token, or a kubeconfig
upstream.py     the API server, as one session's user
security.py     the response headers, the check of origins, the refusal of foreign requests
relay.py        /api… for one request, and exec's WebSocket
live.py         one WebSocket per page, on which watches, logs and the map arrive
traffic.py      what the components have seen of the 29 paths, as it happens
livemap.py      who may look at the map, and what is sent
assets/         the pages: hand-written ES modules, no build step
"""
