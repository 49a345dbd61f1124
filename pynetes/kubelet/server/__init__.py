"""The kubelet's HTTPS server on 10250: logs, exec, attach, port-forward, metrics; who may ask (auth), what (app)."""
