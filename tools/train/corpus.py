#!/usr/bin/env python3
"""corpus.py - text from Debian packages, a tokenizer trained on it, and token files.

    corpus.py [--out build/train] [--fetch] [--only NAME,...] [--vocab 4096]

Writes below --out:
    text/NAME.train.txt, text/NAME.held.txt   the last 2 % of every source is held out
    tokenizer.json                            byte-level BPE, GPT-2's way of splitting
    train.u16.xz, NAME.held.u16               uint16 tokens, little-endian; documents are
                                              set apart by token 0, <|endoftext|>
    corpus.json                               packages with versions, bytes, tokens, hashes

The text stays on the machine: only what is trained on it is published.  A package is looked
for in the system, below build/packages/NAME (as dpkg-deb -x leaves it) and, with --fetch,
downloaded there without being installed.  What is missing is left out, aloud.

Needs Python 3 and the package tokenizers (Apache-2.0).
"""
import argparse
import concurrent.futures
import glob
import gzip
import hashlib
import json
import lzma
import os
import re
import struct
import subprocess
import sys
import zlib

HELD = 0.02
END = "<|endoftext|>"


# ---- readers: each yields documents ----

def read(path):
    with (gzip.open if path.endswith((".gz", ".dz")) else open)(path, "rb") as f:
        return f.read().decode("utf-8", "replace")


def files(root, folder, *ends):
    found = []
    for at, _, names in os.walk(os.path.join(root, folder)):
        found += [os.path.join(at, n) for n in names if n.endswith(ends)]
    return sorted(found)


def gcide(root):
    """The dictionary is one text; its entries are cut into documents of about 64 KB."""
    for path in glob.glob(os.path.join(root, "usr/share/dictd/gcide.dict.dz")):
        text = read(path)
        at = 0
        while at < len(text):
            end = text.find("\n\n", at + 65536)
            end = len(text) if end < 0 else end + 2
            yield text[at:end]
            at = end


def linux_doc(root):
    for path in files(root, "usr/share/doc/linux-doc-6.1", ".rst", ".rst.gz"):
        yield read(path)


def wordnet(root):
    """Glosses, in the order of the files, a document per thousand."""
    for part in ("noun", "verb", "adj", "adv"):
        path = os.path.join(root, "usr/share/wordnet/data." + part)
        if not os.path.exists(path):
            continue
        glosses = [line.split("|", 1)[1].strip() for line in read(path).split("\n")
                   if "|" in line and not line.startswith(" ")]
        for i in range(0, len(glosses), 1000):
            yield "\n".join(glosses[i:i + 1000])


def perl_doc(root):
    pods = files(root, "usr/share/perl", ".pod")
    if len(pods) < 100:  # perl itself brings a few
        return
    for path in pods:
        yield read(path)


def metamath(root):
    """Comments, $( ... $), a document per thousand."""
    for path in glob.glob(os.path.join(root, "usr/share/metamath/databases/set.mm")):
        comments = re.findall(r"\$\((.*?)\$\)", read(path), re.S)
        comments = [re.sub(r"\s+", " ", c).strip() for c in comments]
        for i in range(0, len(comments), 1000):
            yield "\n".join(comments[i:i + 1000])


def r_strings(data):
    """The strings of a serialised R character vector (XDR); none if it is anything else."""
    if data[:2] != b"X\n":
        return []
    version, = struct.unpack(">i", data[2:6])
    at = 14
    if version == 3:
        length, = struct.unpack(">i", data[at:at + 4])
        at += 4 + length
    kind, = struct.unpack(">i", data[at:at + 4])
    if kind & 0xff != 16:
        return []
    count, = struct.unpack(">i", data[at + 4:at + 8])
    at += 8
    lines = []
    for _ in range(count):
        kind, length = struct.unpack(">ii", data[at:at + 8])
        if kind & 0xff != 9:
            return []
        at += 8
        lines.append(data[at:at + max(length, 0)].decode("utf-8", "replace"))
        at += max(length, 0)
    return lines


def austen(root):
    """Each novel is a record: uint32 length, zlib stream of an R character vector."""
    for path in files(root, "usr/lib/R/site-library/janeaustenr", "Rdata.rdb"):
        with open(path, "rb") as f:
            data = f.read()
        at = 0
        while at + 4 < len(data):
            stream = zlib.decompressobj()
            try:
                lines = r_strings(stream.decompress(data[at + 4:]))
            except zlib.error:
                break
            at = len(data) - len(stream.unused_data)
            if len(lines) > 1000:
                yield "\n".join(lines)


SOURCES = {
    "gcide": ("dict-gcide", gcide),
    "linux": ("linux-doc-6.1", linux_doc),
    "wordnet": ("wordnet-base", wordnet),
    "perl": ("perl-doc", perl_doc),
    "metamath": ("metamath-databases", metamath),
    "austen": ("r-cran-janeaustenr", austen),
}


# ---- packages ----

def version_of(package):
    query = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True)
    match = re.search(r"Candidate: (\S+)", query.stdout)
    return match.group(1) if match else None


def fetch(package):
    folder = os.path.join("build", "packages", package)
    os.makedirs(folder, exist_ok=True)
    if subprocess.run(["apt-get", "download", package], cwd=folder).returncode:
        return
    for path in glob.glob(os.path.join(folder, "*.deb")):
        subprocess.run(["dpkg-deb", "-x", path, folder], check=True)
        os.remove(path)


def documents(package, reader, may_fetch):
    places = ["/", os.path.join("build", "packages", package), os.path.join("build", "packages")]
    for attempt in range(2):
        for root in places:
            found = [d for d in reader(root) if d.strip()]
            if found:
                return found
        if attempt or not may_fetch:
            return []
        fetch(package)
    return []


# ---- text, tokenizer, tokens ----

def split(found):
    """The last 2 % of the characters, cut at a document or, in a long one, at a line."""
    left = int(sum(map(len, found)) * HELD)
    train, held = list(found), []
    while train and left > 0:
        last = train.pop()
        if len(last) > left:
            cut = last.find("\n", len(last) - left)
            cut = len(last) - left if cut < 0 else cut + 1
            train.append(last[:cut])
            last = last[cut:]
        held.insert(0, last)
        left -= len(last) or 1
    return [d for d in train if d], [d for d in held if d]


def write_text(out, name, part, docs):
    path = os.path.join(out, "text", "%s.%s.txt" % (name, part))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n\n".join(docs))
    return os.path.getsize(path)


def train_tokenizer(parts, vocab):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator((d for docs in parts.values() for d in docs), trainer)
    t.post_processor = processors.TemplateProcessing(single=END + " $A",
                                                     special_tokens=[(END, 0)])
    return t


def encode(tokenizer, docs):
    """Every document begun by token 0, as little-endian uint16."""
    ids = []
    for i in range(0, len(docs), 256):
        for e in tokenizer.encode_batch(docs[i:i + 256]):
            ids.append(struct.pack("<%dH" % len(e.ids), *e.ids))
    return b"".join(ids)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", default="build/train")
    p.add_argument("--fetch", action="store_true", help="download what is missing, install nothing")
    p.add_argument("--only", default=",".join(SOURCES), help="sources: " + ", ".join(SOURCES))
    p.add_argument("--vocab", type=int, default=4096)
    p.add_argument("--bytes", type=int, default=0, help="at most so many characters of a source")
    a = p.parse_args()
    os.makedirs(os.path.join(a.out, "text"), exist_ok=True)
    record = {"sources": {}, "vocab": a.vocab, "held": HELD}
    train, held = {}, {}
    for name in a.only.split(","):
        package, reader = SOURCES[name]
        found = documents(package, reader, a.fetch)
        if not found:
            print("corpus: %s: package %s is not here" % (name, package), file=sys.stderr)
            continue
        if a.bytes:
            kept, left = [], a.bytes
            for d in found:
                kept.append(d[:left])
                left -= len(kept[-1])
                if left <= 0:
                    break
            found = kept
        train[name], held[name] = split(found)
        record["sources"][name] = {
            "package": package, "version": version_of(package), "documents": len(found),
            "train_bytes": write_text(a.out, name, "train", train[name]),
            "held_bytes": write_text(a.out, name, "held", held[name])}
        print("corpus: %-9s %6d documents, %5.1f MB" %
              (name, len(found), record["sources"][name]["train_bytes"] * 1e-6))
    if not train:
        sys.exit("corpus: nothing to train on")
    tokenizer = train_tokenizer(train, a.vocab)
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    streams = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        packed = {}
        for name, docs in train.items():
            tokens = encode(tokenizer, docs)
            streams[name] = len(tokens) // 2
            packed[name] = pool.submit(lzma.compress, tokens, preset=4)  # one stream a source
            tail = encode(tokenizer, held[name])
            with open(os.path.join(a.out, name + ".held.u16"), "wb") as f:
                f.write(tail)
            record["sources"][name].update(train_tokens=streams[name], train_sha256=sha256(tokens),
                                           held_tokens=len(tail) // 2, held_sha256=sha256(tail))
        with open(os.path.join(a.out, "train.u16.xz"), "wb") as f:
            for name in train:
                f.write(packed[name].result())
    record["train_tokens"] = sum(streams.values())
    with open(os.path.join(a.out, "tokenizer.json"), "rb") as f:
        record["tokenizer_sha256"] = sha256(f.read())
    with open(os.path.join(a.out, "corpus.json"), "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    print("corpus: %.2f M tokens, %.2f bytes a token" %
          (record["train_tokens"] * 1e-6,
           sum(s["train_bytes"] for s in record["sources"].values()) / record["train_tokens"]))


if __name__ == "__main__":
    main()
