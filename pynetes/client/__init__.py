"""The client library: transports, REST, kubeconfig, informers, work queues, leader election, controllers."""
