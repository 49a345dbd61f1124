"""The metrics server: reads what containers use from every kubelet and serves it as metrics.k8s.io.

scrape.py asks the kubelets, points.py keeps the newest two points of each series and makes rates of them, api.py serves
them, auth.py says to whom, app.py puts it together.
"""
