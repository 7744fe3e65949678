"Adversarial active learning: taught, implemented and honestly tested."
import warnings
__version__ = "0.0.1"
warnings.filterwarnings('ignore', r'`torch\.jit\.script` is deprecated', FutureWarning) # fastai's layers call it when imported
