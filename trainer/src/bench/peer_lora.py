"""Trains LoRA adapters of a Qwen2 of random weights by transformers and PEFT, and prints how fast.

Standard input: one JSON object {shape, steps, warm_up_steps, sequences, sequence_tokens, ids,
recompute, rank, alpha, dropout}. Standard output: {parameters, tokens_per_second, peak_mib}.
"""

import json
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen2Config, Qwen2ForCausalLM


def build(work, device):
    shape = work["shape"]
    config = Qwen2Config(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["width"],
        intermediate_size=shape["feed_forward"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=shape["context_tokens"],
        rope_theta=shape["rope_base"],
        rms_norm_eps=shape["epsilon"],
        tie_word_embeddings=shape["tied"],
        use_cache=False,
        attn_implementation="sdpa",
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = Qwen2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if work["recompute"]:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    adapters = LoraConfig(
        r=work["rank"],
        lora_alpha=work["alpha"],
        lora_dropout=work["dropout"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, adapters).train()


def main():
    work = json.load(sys.stdin)
    if not torch.cuda.is_available() and not work.get("without_device"):
        sys.exit("this PyTorch sees no CUDA device")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    model = build(work, device)
    trained = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.98), fused=device == "cuda")
    size = (work["sequences"], 1, work["sequence_tokens"])
    ids = torch.randint(0, work["ids"], size, device=device)

    def steps(count):
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        wait()
        begun = time.perf_counter()
        for _ in range(count):
            for sequence in ids:
                with torch.autocast(device, torch.bfloat16):
                    loss = model(input_ids=sequence, labels=sequence).loss / len(ids)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        wait()
        return time.perf_counter() - begun

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    steps(work["warm_up_steps"])
    seconds = steps(work["steps"])
    peak = torch.cuda.max_memory_reserved() if device == "cuda" else 0
    answer = {
        "parameters": sum(value.numel() for value in trained),
        "tokens_per_second": ids.numel() * work["steps"] / seconds,
        "peak_mib": peak / 2**20,
    }
    print(json.dumps(answer))


main()
