"""The part of etcd's v3 API that storage uses; the .proto is ours, its names and numbers are the wire contract."""
