"""Interface documents, and the ways between them: what a WSDL says in REST, and OpenAPI in SOAP."""
