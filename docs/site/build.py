"""Build the documentation as a site: `make docs`, or

    python docs/site/build.py [FOLDER]     by default build/site

Needs the extra "docs". The Markdown pages are those that GitHub shows; what a site
needs besides is added to a copy of them: links to files of the project become links to
pages that show these files, and the live page stands beside them. Every warning of
Sphinx, such as a link that leads nowhere, is an error. No code of the pages runs here;
the tests do that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS, HERE = ROOT / "docs", Path(__file__).resolve().parent
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(`{3,}|~{3,})")
LANGUAGES = {
    ".py": "python",
    ".h": "c",
    ".c": "c",
    ".cpp": "cpp",
    ".md": "markdown",
    ".toml": "toml",
}
PAGES = {
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "SECURITY.md": "security.md",
    ROOT / "CODE_OF_CONDUCT.md": "conduct.md",
    ROOT / "cpp" / "kernels" / "README.md": "kernels.md",
}
"""Pages that lie elsewhere in the project, and their names in the site."""

LIVE = "<!-- the live page -->"
"""Where a page shows the live page."""

FRAME = (
    '<iframe class="live" src="live.html" title="A network that trains in the browser" '
    'loading="lazy" sandbox="allow-scripts allow-downloads"></iframe>'
)


class Site:
    """A copy of the pages in `folder`, as Sphinx reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: set[Path] = set()

    def write(self) -> None:
        """Copy all pages and pictures, and write a page for each file they name."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copytree(DOCS / "images", self.folder / "images")
        pages = {page: str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
        for page, name in {**pages, **PAGES}.items():
            name = name.removeprefix("site/")  # pages that only the site has
            self._page(page, self.folder / name)
        for picture in (DOCS / "benchmarks").glob("*.png"):
            shutil.copy(picture, self.folder / "benchmarks" / picture.name)
        for file in sorted(self.files):
            self._source(file)
        (self.folder / "_static").mkdir()
        shutil.copy(HERE / "style.css", self.folder / "_static")
        shutil.copy(HERE / "conf.py", self.folder)
        (self.folder / "extra").mkdir()
        shutil.copy(
            ROOT / "src" / "kurve" / "plots" / "page" / "live.html",
            self.folder / "extra",
        )

    def _page(self, page: Path, copy: Path) -> None:
        """Copy a page with links that hold in the site."""
        lines, fence = [], ""
        for line in page.read_text(encoding="utf-8").splitlines():
            mark = FENCE.match(line)
            if mark and not fence:
                fence = mark[1]
                line = re.sub(r"^(`{3,})(output|py)$", _language, line)
            elif mark and mark[1].startswith(fence) and line.strip() == mark[1]:
                fence = ""
            lines.append(line)
        text = "\n".join(lines) + "\n"
        copy.parent.mkdir(parents=True, exist_ok=True)
        depth = len(copy.relative_to(self.folder).parents) - 1
        text = text.replace(LIVE, FRAME)

        def link(found: re.Match[str]) -> str:
            target = (page.parent / found[2]).resolve()
            if not target.exists():
                return found[0]  # Sphinx says so
            return f"{found[1]}{'../' * depth}{self._place(target)}{found[3]}"

        copy.write_text(LINK.sub(link, text), encoding="utf-8")

    def _place(self, target: Path) -> str:
        """Where a file of the project is found in the site."""
        if target in PAGES:
            return PAGES[target]
        if target == ROOT / "README.md":
            return "index.md"
        if target.is_relative_to(DOCS):
            if target.is_dir():
                target /= "README.md"
            return str(target.relative_to(DOCS))
        if target.is_dir():
            inside = (target / name for name in ("README.md", "__init__.py"))
            target = next(path for path in inside if path.exists())
            if target in PAGES:
                return PAGES[target]
        self.files.add(target)
        return f"source/{target.relative_to(ROOT)}.md"

    def _source(self, file: Path) -> None:
        """A page that shows a file."""
        name = file.relative_to(ROOT)
        page = self.folder / "source" / f"{name}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        code = file.read_text(encoding="utf-8")
        fence = "`" * (3 + max(map(len, re.findall("`+", code)), default=0))
        language = LANGUAGES.get(file.suffix, "text")
        page.write_text(
            "---\norphan: true\nhtml_theme.sidebar_secondary.remove: true\n---\n"
            f"# {name}\n\n{fence}{language}\n{code}{fence}\n",
            encoding="utf-8",
        )


def _language(found: re.Match[str]) -> str:
    """Names that only our tests know."""
    return found[1] + {"output": "text", "py": "python"}[found[2]]


def main() -> None:
    out = Path(sys.argv[1] if sys.argv[1:] else ROOT / "build" / "site").resolve()
    pages = out.with_name(f"{out.name}-pages")
    Site(pages).write()
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    done = subprocess.run([*command, "-d", str(out) + "-cache", str(pages), str(out)])
    if done.returncode:
        sys.exit(done.returncode)
    for leftover in ("objects.inv", ".buildinfo"):
        (out / leftover).unlink(missing_ok=True)
    print(f"the site: {out / 'index.html'}")


if __name__ == "__main__":
    main()
