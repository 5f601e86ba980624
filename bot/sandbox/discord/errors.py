"""Errors as Discord's API words them (https://discord.com/developers/docs/topics/opcodes-and-status-codes)."""

from bot.sandbox.discord.entities import Json


class ApiError(Exception):
    """An answer of the API that is no success: HTTP status, Discord's code and message, and form errors."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.body: Json = {"message": message, "code": code}
        if errors:
            self.body["errors"] = errors


def unauthorized() -> ApiError:
    return ApiError(401, 0, "401: Unauthorized")


def unknown(what: str) -> ApiError:
    """404 for a thing that does not exist: Application, Channel, Guild, Member, Message, User, Interaction, …"""
    return ApiError(404, _UNKNOWN[what], f"Unknown {what}")


def missing_access() -> ApiError:
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    return ApiError(403, 50013, "Missing Permissions")


def too_large() -> ApiError:
    return ApiError(413, 40005, "Request entity too large")


def invalid_form(errors: dict[str, str]) -> ApiError:
    """400 for values out of bounds: `errors` maps dotted paths to sentences, and becomes Discord's nested shape."""
    nested: Json = {}
    for path, sentence in errors.items():
        node = nested
        for part in path.split("."):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": "BASE_TYPE_BAD_LENGTH", "message": sentence})
    return ApiError(400, 50035, "Invalid Form Body", nested)


_UNKNOWN = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "User": 10013,
    "Webhook": 10015,
    "Interaction": 10062,
    "Application Command": 10063,
}
