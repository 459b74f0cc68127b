"""Noise on data: on pixels, on whole examples and their labels, on embeddings.

Pure functions of a key and a batch, which run inside the jitted step or in front of it.
All but mixup and cutmix, which mix the examples of a batch, treat one example under
``vmap`` over keys as they treat each example of a batch.
"""

from jaxdrop.inputs._cutmix import cutmix as cutmix
from jaxdrop.inputs._cutout import cutout as cutout
from jaxdrop.inputs._embedding_noise import embedding_noise as embedding_noise
from jaxdrop.inputs._gaussian_noise import gaussian_noise as gaussian_noise
from jaxdrop.inputs._mixup import mixup as mixup
from jaxdrop.inputs._random_erasing import random_erasing as random_erasing
