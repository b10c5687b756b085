"""A FastAPI application whose routes ask a guard. (No postponed annotations: FastAPI reads those of local names.)"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Security

from keybearer.guards import Caller, Guard
from keybearer.guards.fastapi import Guarded


def fastapi_site(guard: Guard, token_cookie: str) -> FastAPI:
    """Pages to read and to write, and a health check for everybody."""
    app = FastAPI(title="Site")
    guarded = Guarded(guard, token_cookie=token_cookie)
    guarded.install(app)

    @app.get("/pages/{number}")
    async def read_page(number: int, caller: Annotated[Caller, Depends(guarded("pages:read"))]) -> dict[str, Any]:
        return {"number": number, "caller": caller.credential_id}

    @app.post("/pages")
    def write_page(caller: Annotated[Caller, Security(guarded(), scopes=["pages:write"])]) -> dict[str, Any]:
        return {"caller": caller.credential_id, "may": caller.may("pages:write")}

    @app.get("/health")
    async def health() -> str:
        return "well"

    return app
