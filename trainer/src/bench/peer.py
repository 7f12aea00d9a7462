"""Trains the model of the request, step by step, on one thread, and prints how fast that was.

Standard input: one JSON object {shape, steps, warm_up_steps, ids, learned}.
Standard output: one JSON object {parameters, tokens_per_second, peak_mib}.
"""

import json
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads, self.kv_heads = shape["heads"], shape["kv_heads"]
        self.head_width, self.epsilon = shape["head_width"], shape["epsilon"]
        width, inner = shape["width"], shape["feed_forward"]
        rows = (self.heads + 2 * self.kv_heads) * self.head_width
        self.qkv = nn.Linear(width, rows)
        self.output = nn.Linear(self.heads * self.head_width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.attention_gain = nn.Parameter(torch.ones(width))
        self.feed_forward_gain = nn.Parameter(torch.ones(width))

    def attend(self, stream, cosine, sine):
        batch, tokens, _ = stream.shape
        qkv = self.qkv(stream).view(batch, tokens, -1, self.head_width).transpose(1, 2)
        query, key, value = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        query, key = turn(query, cosine, sine), turn(key, cosine, sine)
        attended = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=self.heads != self.kv_heads
        )
        return self.output(attended.transpose(1, 2).reshape(batch, tokens, -1))

    def forward(self, stream, cosine, sine):
        normed = norm(stream, self.attention_gain, self.epsilon)
        stream = stream + self.attend(normed, cosine, sine)
        normed = norm(stream, self.feed_forward_gain, self.epsilon)
        gate, up = self.gate_up(normed).chunk(2, dim=-1)
        return stream + self.down(functional.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.epsilon = shape["epsilon"]
        self.embedding = nn.Embedding(shape["vocabulary"], shape["width"])
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape["layers"]))
        self.gain = nn.Parameter(torch.ones(shape["width"]))

    def forward(self, ids, positions, cosine, sine):
        """Logits of the chosen positions of the flattened batch; the head is the embedding."""
        stream = self.embedding(ids)
        for block in self.blocks:
            stream = block(stream, cosine, sine)
        chosen = norm(stream, self.gain, self.epsilon).flatten(0, 1)[positions]
        return functional.linear(chosen, self.embedding.weight)


def norm(stream, gain, epsilon):
    return functional.rms_norm(stream, gain.shape, gain, epsilon)


def turn(heads, cosine, sine):
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def angles(shape, tokens):
    pairs = torch.arange(0, shape["head_width"], 2, dtype=torch.float64)
    rates = shape["rope_base"] ** (-pairs / shape["head_width"])
    turns = torch.arange(tokens, dtype=torch.float64)[:, None] * rates
    return turns.cos().float(), turns.sin().float()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    work = json.load(sys.stdin)
    shape = work["shape"]
    ids, learned = torch.tensor(work["ids"]), torch.tensor(work["learned"])
    # Token i has loss where learned[i]; what predicts it stands one place before.
    wanted = torch.zeros_like(learned)
    wanted[:, :-1] = learned[:, 1:]
    positions = wanted.flatten().nonzero().squeeze(1)
    targets = ids.flatten()[positions + 1]
    cosine, sine = angles(shape, ids.shape[1])
    model = Model(shape)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)

    def step():
        optimiser.zero_grad(set_to_none=True)
        logits = model(ids, positions, cosine, sine)
        functional.cross_entropy(logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    for _ in range(work["warm_up_steps"]):
        step()
    begun = time.perf_counter()
    for _ in range(work["steps"]):
        step()
    seconds = time.perf_counter() - begun
    print(
        json.dumps(
            {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "tokens_per_second": ids.numel() * work["steps"] / seconds,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
