"""The collector's HTTP: who may ask, how routes are declared, and the document (OpenAPI) that is made of them."""
