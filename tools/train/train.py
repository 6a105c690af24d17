#!/usr/bin/env python3
"""train.py - trains the suite's own small Llama-style model and writes what the suite reads.

    train.py [--data build/train] [--out configs/models/own] [--seconds 420] [--resume]

Reads tokenizer.json, train.u16.xz (or train.u16), *.held.u16 and corpus.json of corpus.py.
Writes below --out, in the form of a Hugging Face folder:
    model-0000i-of-0000n.safetensors   FP16, parts below 16 MB, with the index beside them
    config.json, tokenizer.json
    evaluation.u16, calibration.u16    windows drawn from the FP16 model at temperature 1
    training.json, loss.tsv            seeds, versions, hashes, settings; the loss curve

Shape: hidden 512, 4 layers, 4 query heads of 128, 2 kv heads, feed-forward 1408, vocabulary
4096, embedding tied, context 1024: every matrix has multiples of 128.  bf16 with AdamW (0.9,
0.95), weight decay 0.1, rate 1e-3 after 2 % of warm-up, falling as a cosine to a tenth.

--seconds ends the training in time: the rate follows the tokens or the clock, whichever is
further, so that it has fallen when the time is up.  Progress is saved every --save seconds
and taken up again by --resume, the clock included.  One seed decides initial weights, order
of the windows and what is drawn; GPU arithmetic still differs between machines.

Needs Python 3, numpy and PyTorch 2.
"""
import argparse
import glob
import hashlib
import json
import lzma
import math
import os
import platform
import shutil
import struct
import sys
import time

import numpy
import torch
import torch.nn.functional as F

PART = 15_000_000  # bytes of a file of weights, at most


class Shape:
    def __init__(self, a):
        self.dim, self.layers, self.heads, self.kv = a.dim, a.layers, a.heads, a.kv_heads
        self.head, self.hidden, self.vocab, self.context = a.head_dim, a.hidden, a.vocab, a.context
        self.eps, self.theta = 1e-5, 10000.0


# ---- model ----

class Block(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        linear = lambda k, n: torch.nn.Linear(k, n, bias=False)
        self.q, self.k = linear(s.dim, s.heads * s.head), linear(s.dim, s.kv * s.head)
        self.v, self.o = linear(s.dim, s.kv * s.head), linear(s.heads * s.head, s.dim)
        self.gate, self.up = linear(s.dim, s.hidden), linear(s.dim, s.hidden)
        self.down = linear(s.hidden, s.dim)
        self.attn_norm = torch.nn.Parameter(torch.ones(s.dim))
        self.ffn_norm = torch.nn.Parameter(torch.ones(s.dim))


def rmsnorm(x, gain, eps):
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return (y * gain.float()).to(x.dtype)


def rotate(x, cosine, sine):
    """Halves apart: element i turns with i + head/2."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Model(torch.nn.Module):
    def __init__(self, s, seed=0):
        super().__init__()
        self.s = s
        self.embedding = torch.nn.Parameter(torch.empty(s.vocab, s.dim))
        self.block = torch.nn.ModuleList(Block(s) for _ in range(s.layers))
        self.norm = torch.nn.Parameter(torch.ones(s.dim))
        draw = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                deep = name.endswith((".o.weight", ".down.weight"))
                spread = 0.02 / math.sqrt(2 * s.layers) if deep else 0.02
                with torch.no_grad():
                    p.copy_(torch.randn(p.shape, generator=draw) * spread)
        angle = torch.outer(torch.arange(s.context).float(),
                            s.theta ** (-torch.arange(0, s.head, 2).float() / s.head))
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)

    def forward(self, token, cache=None, at=0):
        """Logits; with a cache [layer][2][batch][kv][context][head], of new tokens only."""
        s, (batch, length) = self.s, token.shape
        x = F.embedding(token, self.embedding)
        cosine = self.cosine[at:at + length].to(x.dtype)
        sine = self.sine[at:at + length].to(x.dtype)
        for i, b in enumerate(self.block):
            h = rmsnorm(x, b.attn_norm, s.eps)
            q = rotate(b.q(h).view(batch, length, s.heads, s.head).transpose(1, 2), cosine, sine)
            k = rotate(b.k(h).view(batch, length, s.kv, s.head).transpose(1, 2), cosine, sine)
            v = b.v(h).view(batch, length, s.kv, s.head).transpose(1, 2)
            if cache is not None:
                cache[i, 0, :, :, at:at + length] = k
                cache[i, 1, :, :, at:at + length] = v
                k, v = cache[i, 0, :, :, :at + length], cache[i, 1, :, :, :at + length]
            share = s.heads // s.kv
            k = k.repeat_interleave(share, 1)
            v = v.repeat_interleave(share, 1)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
            x = x + b.o(y.transpose(1, 2).reshape(batch, length, s.heads * s.head))
            h = rmsnorm(x, b.ffn_norm, s.eps)
            x = x + b.down(F.silu(b.gate(h)) * b.up(h))
        return F.linear(rmsnorm(x, self.norm, s.eps), self.embedding)


# ---- data ----

def tokens_of(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rb") as f:
        return numpy.frombuffer(f.read(), dtype="<u2")


class Windows:
    """Windows of context + 1 tokens in an order that is drawn anew, and moved, every pass."""

    def __init__(self, tokens, context, seed):
        self.tokens, self.context, self.seed = tokens, context, seed
        self.count = (len(tokens) - context - 1) // context
        self.order, self.epoch = None, -1

    def take(self, first, count):
        rows = []
        for n in range(first, first + count):
            if n // self.count != self.epoch:
                self.epoch = n // self.count
                draw = numpy.random.default_rng([self.seed, self.epoch])
                self.order = draw.permutation(self.count)
                self.move = int(draw.integers(self.context))
            at = int(self.order[n % self.count]) * self.context + self.move
            rows.append(self.tokens[at:at + self.context + 1])
        return torch.from_numpy(numpy.stack(rows).astype(numpy.int64))


def loss_of(model, rows, device, bf16):
    rows = rows.to(device, non_blocking=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = model(rows[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


@torch.no_grad()
def held_loss(model, held, context, device, bf16, most):
    """Mean loss on every source's held-out windows, in nats per token."""
    result = {}
    for name, tokens in held.items():
        count = min((len(tokens) - 1) // context, most)
        total = 0.0
        for i in range(0, count, 16):
            rows = [tokens[j * context:(j + 1) * context + 1] for j in range(i, min(i + 16, count))]
            rows = torch.from_numpy(numpy.stack(rows).astype(numpy.int64))
            total += float(loss_of(model, rows, device, bf16)) * len(rows)
        if count:
            result[name] = total / count
    return result


# ---- training ----

def rate(fraction, a):
    if fraction < a.warmup:
        return a.rate * fraction / a.warmup
    fraction = (fraction - a.warmup) / (1 - a.warmup)
    return a.rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))))


def save(path, **what):
    torch.save(what, path + ".new")
    os.replace(path + ".new", path)


def train(a, s, model, device, bf16, data, held, state):
    decay = [p for p in model.parameters() if p.dim() == 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1},
                                   {"params": plain, "weight_decay": 0.0}], lr=a.rate,
                                  betas=(0.9, 0.95), fused=device.type == "cuda")
    if state:
        optimizer.load_state_dict(state["optimizer"])
    step, tokens, before, log = 0, 0, 0.0, []
    if state:
        step, tokens, before, log = (state[k] for k in ("step", "tokens", "seconds", "log"))
    run = torch.compile(model) if a.compile else model
    windows = Windows(data, s.context, a.seed)
    per_step = a.batch // s.context
    start = saved = time.monotonic()
    while tokens < a.tokens:
        seconds = before + time.monotonic() - start
        fraction = max(tokens / a.tokens, seconds / a.seconds if a.seconds else 0)
        if fraction >= 1 or (a.steps and step >= a.steps):
            break
        for group in optimizer.param_groups:
            group["lr"] = rate(fraction + 1e-9, a)
        total = 0.0
        for first in range(0, per_step, a.micro):
            count = min(a.micro, per_step - first)
            loss = loss_of(run, windows.take(step * per_step + first, count), device, bf16)
            (loss * count / per_step).backward()
            total += loss.detach() * count / per_step
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        tokens += per_step * s.context
        if step % a.report == 0 or step == 1:
            line = {"step": step, "tokens": tokens,
                    "seconds": round(before + time.monotonic() - start, 2),
                    "rate": group["lr"], "train": float(total), "held": None}
            if step % (10 * a.report) == 0:
                now = held_loss(model, held, s.context, device, bf16, 16)
                line["held"] = sum(now.values()) / max(len(now), 1)
            log.append(line)
            print("step %5d  %6.1f M tokens  %6.1f s  loss %.4f%s" %
                  (step, tokens * 1e-6, line["seconds"], line["train"],
                   "  held out %.4f" % line["held"] if line["held"] else ""), flush=True)
            if not math.isfinite(line["train"]):
                sys.exit("train: the loss is not a number")
        if time.monotonic() - saved > a.save:
            saved = time.monotonic()
            save(a.checkpoint, model=model.state_dict(), optimizer=optimizer.state_dict(),
                 step=step, tokens=tokens, seconds=before + saved - start, log=log)
    seconds = before + time.monotonic() - start
    save(a.checkpoint, model=model.state_dict(), optimizer=optimizer.state_dict(), step=step,
         tokens=tokens, seconds=seconds, log=log)
    return {"steps": step, "tokens": tokens, "seconds": round(seconds, 1)}, log


# ---- what the suite reads ----

def tensors(model):
    names = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
             "o": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
             "down": "mlp.down_proj"}
    yield "model.embed_tokens.weight", model.embedding
    for i, b in enumerate(model.block):
        at = "model.layers.%d." % i
        yield at + "input_layernorm.weight", b.attn_norm
        yield at + "post_attention_layernorm.weight", b.ffn_norm
        for own, name in names.items():
            yield at + name + ".weight", getattr(b, own).weight
    yield "model.norm.weight", model.norm


def write_part(path, part):
    header, at = {}, 0
    for name, array in part:
        header[name] = {"dtype": "F16", "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, array in part:
            f.write(array.tobytes())


def export(model, s, out):
    parts, size = [[]], 0
    for name, p in tensors(model):
        array = p.detach().cpu().float().numpy().astype("<f2")
        if not numpy.isfinite(array).all():
            sys.exit("train: %s does not fit into FP16" % name)
        if parts[-1] and size + array.nbytes > PART:
            parts.append([])
            size = 0
        parts[-1].append((name, array))
        size += array.nbytes
    for old in glob.glob(os.path.join(out, "model*.safetensors*")):
        os.remove(old)
    where = {}
    for i, part in enumerate(parts):
        name = "model-%05d-of-%05d.safetensors" % (i + 1, len(parts))
        write_part(os.path.join(out, name), part)
        where.update((tensor, name) for tensor, _ in part)
    write_json(os.path.join(out, "model.safetensors.index.json"),
               {"metadata": {"total_size": sum(x.nbytes for p in parts for _, x in p)},
                "weight_map": where})
    write_json(os.path.join(out, "config.json"), {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": s.vocab, "hidden_size": s.dim, "intermediate_size": s.hidden,
        "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv, "head_dim": s.head, "max_position_embeddings": s.context,
        "rms_norm_eps": s.eps, "rope_theta": s.theta, "tie_word_embeddings": True,
        "attention_bias": False, "mlp_bias": False, "bos_token_id": 0, "eos_token_id": 0,
        "torch_dtype": "float16"})


def write_json(path, document):
    with open(path, "w") as f:
        json.dump(document, f, indent=1)
        f.write("\n")


@torch.no_grad()
def sample(model, s, count, length, device, seed, batch=64):
    """Sequences from token 0, drawn from the model with weights rounded to FP16, in FP32."""
    draw = torch.Generator(device).manual_seed(seed)
    rows = []
    for first in range(0, count, batch):
        n = min(batch, count - first)
        token = torch.zeros(n, length, dtype=torch.int64, device=device)
        cache = torch.zeros(s.layers, 2, n, s.kv, length, s.head, device=device)
        for t in range(length - 1):
            logits = model(token[:, t:t + 1], cache, t)[:, -1]
            token[:, t + 1] = torch.multinomial(logits.softmax(-1), 1, generator=draw)[:, 0]
        rows.append(token.cpu().numpy().astype("<u2"))
    return numpy.concatenate(rows)


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", default="build/train")
    p.add_argument("--out", default="configs/models/own")
    p.add_argument("--checkpoint", default=None, help="default: DATA/checkpoint.pt")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--seconds", type=float, default=0, help="of training; 0: no limit")
    p.add_argument("--save", type=float, default=60, help="seconds between checkpoints")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--seed", type=int, default=20260601)
    p.add_argument("--tokens", type=float, default=300e6)
    p.add_argument("--steps", type=int, default=0, help="at most; 0: no limit")
    p.add_argument("--batch", type=int, default=262144, help="tokens a step")
    p.add_argument("--micro", type=int, default=64, help="windows at a time")
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--warmup", type=float, default=0.02)
    p.add_argument("--report", type=int, default=10, help="steps between lines of the log")
    p.add_argument("--compile", action="store_true", help="torch.compile")
    p.add_argument("--windows", type=int, nargs=2, default=(64, 128),
                   help="to draw for evaluation and for calibration")
    for name, value in (("dim", 512), ("layers", 4), ("heads", 4), ("kv-heads", 2),
                        ("head-dim", 128), ("hidden", 1408), ("vocab", 4096), ("context", 1024)):
        p.add_argument("--" + name, type=int, default=value)
    a = p.parse_args()
    a.checkpoint = a.checkpoint or os.path.join(a.data, "checkpoint.pt")
    if a.batch % a.context:
        p.error("--batch must be a multiple of --context")
    return a


def main():
    a = arguments()
    s, device = Shape(a), torch.device(a.device)
    bf16 = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = True
    packed = os.path.join(a.data, "train.u16.xz")
    data = tokens_of(packed if os.path.exists(packed) else packed[:-3])
    held = {os.path.basename(h).split(".")[0]: tokens_of(h)
            for h in sorted(glob.glob(os.path.join(a.data, "*.held.u16")))}
    if int(data.max()) >= s.vocab:
        sys.exit("train: token %d; the vocabulary has %d" % (data.max(), s.vocab))
    model = Model(s, a.seed).to(device)
    count = sum(p.numel() for p in model.parameters())
    print("train: %.2f M parameters, %.2f M tokens, %s" %
          (count * 1e-6, len(data) * 1e-6, device), flush=True)
    state = None
    if a.resume and os.path.exists(a.checkpoint):
        state = torch.load(a.checkpoint, map_location=device)
        model.load_state_dict(state["model"])
    done, log = train(a, s, model, device, bf16, data, held, state)

    os.makedirs(a.out, exist_ok=True)
    export(model, s, a.out)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())
    model.eval()
    torch.backends.cuda.matmul.allow_tf32 = False
    final = held_loss(model, held, s.context, device, False, 1 << 30)
    for i, name in enumerate(("evaluation", "calibration")):
        drawn = sample(model, s, a.windows[i], s.context, device, a.seed + 1 + i)
        drawn.tofile(os.path.join(a.out, name + ".u16"))
    tokenizer = os.path.join(a.data, "tokenizer.json")
    if os.path.exists(tokenizer):
        shutil.copy(tokenizer, os.path.join(a.out, "tokenizer.json"))
    with open(os.path.join(a.out, "loss.tsv"), "w") as f:
        f.write("step\ttokens\tseconds\trate\ttrain\theld\n")
        for line in log:
            f.write("%(step)d\t%(tokens)d\t%(seconds).2f\t%(rate).6g\t%(train).5f\t" % line +
                    ("%.5f\n" % line["held"] if line["held"] else "nan\n"))
    corpus = os.path.join(a.data, "corpus.json")
    settings = {k: v for k, v in vars(a).items()
                if k not in ("data", "out", "checkpoint", "resume", "save", "device")}
    write_json(os.path.join(a.out, "training.json"), {
        "about": "how the weights beside this file came to be: corpus.py, train.py of tools/train",
        "parameters": count, "settings": settings, "result": done,
        "held_out_loss": {k: round(v, 5) for k, v in final.items()},
        "device": torch.cuda.get_device_name() if bf16 else platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "numpy": numpy.__version__, "cuda": torch.version.cuda},
        "corpus": json.load(open(corpus)) if os.path.exists(corpus) else None,
        "sha256": {os.path.basename(f): sha256(f) for f in sorted(
            glob.glob(os.path.join(a.out, "*.safetensors")) +
            glob.glob(os.path.join(a.out, "*.u16")))}})
    print("train: %d steps, %.1f M tokens, %.0f s; held out %s" %
          (done["steps"], done["tokens"] * 1e-6, done["seconds"],
           ", ".join("%s %.3f" % i for i in final.items())))


if __name__ == "__main__":
    main()
