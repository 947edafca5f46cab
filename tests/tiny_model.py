"""A Llama of a few thousand weights with its own tokenizer, written as a model folder."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_TEXT = [
    "Last order 3 days ago, usual gap 7 days: on time. a little late. very late. late.",
    "Spend last 60 days as usual, last 20 days far lower than usual. much lower higher almost",
    "Usual 120 per 60 days; by 20 days, newest first: 30 42 51 8 9 0. 1 2 3 4 5 6 7 8 9",
    "Orders by 20 days: 1 2 3 4 5. In all 6 orders in 3 months, average 20. nothing",
    "Often buys Milk, Bread, Coffee beans. Last order 12: Milk. Returned goods worth 3.",
    "Value tier:\nLeaving:\n low low low middle middle middle high high high yes yes yes no no no",
    "Note: Sentence: Say each note in one plain sentence. Keep every name, number and date.",
]


def build_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write config, weights and tokenizer; labels are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT * 5, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
