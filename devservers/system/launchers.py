"""Launchers: the programs that run other programs, and the files by which a folder redirects them.

Each reads those of the folder that it is run in, and of the folders above it.
"""

PACKAGE = "package.json"
MODULES = "node_modules"
_NODE = (
    *(PACKAGE, ".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", ".pnpmfile.mjs"),
    *("pnpm-workspace.yaml", ".pnp.cjs", ".pnp.loader.mjs", "bunfig.toml", ".tool-versions"),
    *(".corepack.env", ".env.yarn"),
)
_BUN = (".env", ".env.local", ".env.development", ".env.development.local")  # read unasked
_NAMES = ("compose", "compose.override", "docker-compose", "docker-compose.override")
_COMPOSE = (".env", *(f"{name}.{kind}" for name in _NAMES for kind in ("yaml", "yml")))
_SCRIPTS = (PACKAGE, "tsconfig.json")  # which file the name of a module stands for
REDIRECTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("npm", "npx", "pnpm", "pnpx", "yarn", "yarnpkg", "corepack"), _NODE),
    **dict.fromkeys(("bun", "bunx"), (*_NODE, *_BUN)),
    **dict.fromkeys(("node", "tsx", "ts-node"), _SCRIPTS),
    "deno": ("deno.json", "deno.jsonc", PACKAGE),
    "docker": (*_COMPOSE, "Dockerfile"),
    "docker-compose": (*_COMPOSE, "Dockerfile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "make": ("GNUmakefile", "makefile", "Makefile"),
    "mise": ("mise.toml", ".mise.toml", ".tool-versions"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "uv": ("pyproject.toml", "uv.toml"),
}
# What a launcher of packages reads of package.json when it is given the name of a package: the
# rest (scripts, dependencies, other tools' settings) says nothing of what it will run.
TELLING = (
    *("bin", "config", "devEngines", "directories", "overrides", "packageManager", "pnpm"),
    *("resolutions",),
)
