"""Searches a set with SQLite's FTS5 (porter, two columns) and with bm25s: {"documents": [{"id", "title", "text"}],
"questions": [...], "depth": n} on standard input; {"fts5": [{"ids", "ms"}, ...], "bm25s": ... or null} on standard output."""

import json
import re
import sqlite3
import sys
import time

request = json.load(sys.stdin)
documents, depth = request["documents"], request["depth"]
ids = [document["id"] for document in documents]


def timed(search, question):
    begun = time.process_time()
    found = search(question)
    return {"ids": found, "ms": (time.process_time() - begun) * 1000}


def fts5():
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE d USING fts5(title, text, tokenize='porter')")
    rows = [(d["title"], d["text"]) for d in documents]
    database.executemany("INSERT INTO d VALUES (?, ?)", rows)

    def search(question):
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question)[:64])
        query = "SELECT rowid FROM d WHERE d MATCH ? ORDER BY rank LIMIT ?"
        return [ids[row[0] - 1] for row in database.execute(query, (words, depth))] if words else []

    return [timed(search, question) for question in request["questions"]]


def bm25s():
    try:
        import bm25s
    except ImportError:
        return None
    index = bm25s.BM25()
    texts = [f"{d['title']}\n{d['text']}" for d in documents]
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)

    def search(question):
        tokens = bm25s.tokenize([question], stopwords="en", show_progress=False)
        found, scores = index.retrieve(tokens, k=min(depth, len(ids)), show_progress=False)
        return [ids[place] for place, score in zip(found[0], scores[0]) if score > 0]

    return [timed(search, question) for question in request["questions"]]


print(json.dumps({"fts5": fts5(), "bm25s": bm25s()}))
