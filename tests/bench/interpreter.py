"""Which interpreter a benchmark runs on: the way it was built is worth as much as many an optimization."""

import platform
import sysconfig


def interpreter() -> str:
    """Name, version and build; profile-guided optimization is worth about a tenth of the service's CPU."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    if arguments is None:
        built = "how it was built is not known"
    else:
        with_profile = "--enable-optimizations" in arguments
        built = f"built {'with' if with_profile else 'without'} profile-guided optimization"
        built += " and with link-time optimization" if "--with-lto" in arguments else ""
    return f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()}), {built}"
