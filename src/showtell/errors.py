"""Every error that showtell raises on purpose, in one small tree.

Each message is one line: where, what was found, what was expected, what to do next.
"""


class ShowtellError(Exception):
    """Base of all errors that a user can cause or cure; the command line prints it without a traceback."""


class ImageError(ShowtellError):
    """A source that gives no picture: missing, truncated, too large, no image, or an address that fails."""


class DataError(ShowtellError):
    """A data set that cannot be read as it stands."""


class RecipeError(ShowtellError):
    """A recipe or a `--set` that names an unknown key or an impossible value."""


class VocabularyError(ShowtellError):
    """A vocabulary file that is damaged or a vocabulary that cannot serve."""


class EncoderError(ShowtellError):
    """An encoder whose name, weights or preparation cannot be used."""


class FeatureError(ShowtellError):
    """A feature store that belongs to another encoder or is damaged, or features that do not fit or are not finite."""


class CheckpointError(ShowtellError):
    """A checkpoint or run folder that cannot be read, written or continued."""


class BundleError(ShowtellError):
    """A bundle that is damaged, of another format, or unsafe to open."""


class ExportError(ShowtellError):
    """An export whose result does not say what the checkpoint says."""


class JavaError(ShowtellError):
    """A Java program of a score that cannot start, fails, takes too long or answers something else than asked."""


class MissingExtraError(ShowtellError):
    """A command that needs an optional part of the installation."""


class ServeError(ShowtellError):
    """A server that cannot be set up or started as asked."""
