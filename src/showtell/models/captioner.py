"""Encoder and decoder as one trainable module.

B pictures, S side in pixels, R regions, D region size, K captions of each, T words, V vocabulary size.
"""

from torch import Tensor, nn

from showtell.models.decoder import Decoder, Told
from showtell.models.encoder import Encoder


class CaptionModel(nn.Module):
    """What a checkpoint holds: the decoder, and the encoder where it learns too."""

    def __init__(self, decoder: Decoder, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder

    def regions(self, inputs: Tensor) -> Tensor:
        """Rows of the store -> regions float32 (B, R, D): pictures (B, S, S, 3) are encoded, features widened."""
        if self.encoder is not None:
            regions: Tensor = self.encoder(inputs)
            return regions
        return inputs.float()

    def forward(self, inputs: Tensor, tokens: Tensor, lengths: Tensor, mask: Tensor | None) -> Told:
        """Teacher forcing; see `Decoder.forward`."""
        told: Told = self.decoder(self.regions(inputs), tokens, lengths, mask)
        return told
