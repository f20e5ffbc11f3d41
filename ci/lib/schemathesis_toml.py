"""For schemathesis: bodies of TOML are sent as they are."""

import schemathesis


@schemathesis.serializer("application/toml")
def toml(_context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
