"""``evenwatt broker``: the certificates, the access list and the configuration of a site's mosquitto."""
