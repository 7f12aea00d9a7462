"""Makes sets for `retort bench corpus` from documents whose titles are no names.

    python3 tests/sets/make.py manual DIR [/usr/share/man/man1 ...]
    python3 tests/sets/make.py rust DIR [$(rustc --print sysroot)/share/doc/rust/html/std]

A page without the sentence that says what it is about is a document; that sentence is the question, and the page its
answer. Pages that share the sentence answer it together. DIR gets corpus.jsonl and queries.jsonl. Only Python's own
library is used."""

import gzip
import html.parser
import json
import pathlib
import random
import re
import subprocess
import sys

SEED = 1
PAGES_MAX = 3000
FAMILY_MAX = 30
QUESTIONS_MAX = 500
QUESTION_WORDS_MAX = 40
WORDS_MIN = 40


def manual_page(path):
    """Title, summary and text of a page in roff, or None."""
    raw = gzip.open(path, "rt", errors="replace") if path.suffix == ".gz" else open(path, errors="replace")
    with raw as file:
        lines = file.read().split("\n")
    section, sections = None, {}
    for line in lines:
        line = re.sub(r'^\.\\".*|^\.(TP|PP|LP|P|br|nf|fi|RS|RE|in|ad|hy|na|sp|ie|el|ds|de|nr|TQ).*', "", line)
        heading = re.match(r'\.S[Hh]\s+"?([^"]+)"?', line)
        if heading:
            section = heading.group(1).strip().upper()
            continue
        line = re.sub(r"^\.\w+\s*", "", line)
        line = re.sub(r"\\f[BIRP1-4]|\\f\(..|\\[&|,/^]|\\s[-+]?\d|\"", "", line)
        line = line.replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\\").replace(r"\ ", " ")
        if section and line.strip():
            sections.setdefault(section, []).append(line.strip())
    name = " ".join(sections.pop("NAME", []))
    if " - " not in name:
        return None
    summary = name.split(" - ", 1)[1].strip()
    stem, number = path.name.removesuffix(".gz").rsplit(".", 1)
    text = "\n\n".join(f"{title.capitalize()}\n" + "\n".join(body) for title, body in sections.items())
    return f"{stem}({number})", summary, text


class Page(html.parser.HTMLParser):
    """Paragraphs of the documentation blocks of a page."""

    def __init__(self):
        super().__init__()
        self.depth, self.paragraphs, self.skipped = 0, [], 0

    def handle_starttag(self, tag, attributes):
        if tag == "div" and "docblock" in (dict(attributes).get("class") or ""):
            self.depth = self.depth or 1
        elif self.depth and tag == "div":
            self.depth += 1
        if self.depth and tag in ("p", "h2", "h3", "h4", "li", "pre", "td"):
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        if self.depth and tag == "div":
            self.depth -= 1

    def handle_data(self, data):
        if self.depth and self.paragraphs:
            self.paragraphs[-1] += data


def rust_page(path):
    """Title, summary and text of an item's page, or None."""
    kind = re.match(r"(struct|enum|trait|fn|macro|primitive|constant|keyword)\.(.+)\.html", path.name)
    if not kind:
        return None
    page = Page()
    page.feed(path.read_text(errors="replace"))
    paragraphs = [" ".join(text.split()) for text in page.paragraphs if text.strip()]
    if len(paragraphs) < 2:
        return None
    parts = path.parts[path.parts.index("html") + 1 : -1]
    return "::".join([*parts, kind.group(2)]), paragraphs[0], "\n\n".join(paragraphs[1:])


def main():
    kind, out, *roots = sys.argv[1:]
    if kind == "manual":
        read, roots = manual_page, roots or [f"/usr/share/man/man{number}" for number in range(1, 9)]
    else:
        sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True).stdout.strip()
        read, roots = rust_page, roots or [f"{sysroot}/share/doc/rust/html/std"]
    paths = sorted(path for root in roots for path in pathlib.Path(root).rglob("*.*") if path.is_file())
    random.Random(SEED).shuffle(paths)
    pages, families = {}, {}
    for path in paths:
        page = read(path)
        if page and len(page[2].split()) >= WORDS_MIN and page[0] not in pages:
            # One program's many commands must not be the whole set.
            family = re.split(r"[-_:.(]", page[0])[0]
            families[family] = families.get(family, 0) + 1
            if kind == "rust" or families[family] <= FAMILY_MAX:
                pages[page[0]] = page
        if len(pages) == PAGES_MAX:
            break
    answers = {}
    for title, summary, _ in pages.values():
        summary = " ".join(summary.split()[:QUESTION_WORDS_MAX])
        answers.setdefault(summary, []).append(title)
    questions = [(summary, gold) for summary, gold in answers.items() if len(gold) <= 3][:QUESTIONS_MAX]
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "corpus.jsonl", "w") as file:
        for title, _, text in pages.values():
            file.write(json.dumps({"id": title, "title": title, "text": text}) + "\n")
    with open(folder / "queries.jsonl", "w") as file:
        for summary, gold in questions:
            file.write(json.dumps({"question": summary, "gold": gold}) + "\n")
    print(f"{out}: {len(pages)} documents, {len(questions)} questions")


main()
