import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for table_decoder.py, under any import mode
