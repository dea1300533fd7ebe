"""HTTP only: routes, schemas, error mapping and wiring. What is decided, intake decides."""
