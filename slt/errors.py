"""The few error types that stages raise; each message names the thing at fault and the next step."""


class SltError(Exception):
    """Base of all errors that a stage reports as one line instead of a traceback."""


class ConfigError(SltError):
    """A parameter is unknown, of the wrong type, or contradicts another one."""


class DataError(SltError):
    """Raw or derived data is missing, unreadable or not what the stage needs."""


class StoreError(SltError):
    """A stored shard is truncated, corrupt or does not belong where it lies."""
