import pickle


class Array:
    """As numpy's: its content is out of band where the protocol has that, and a bytes object else."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return (Array, (pickle.PickleBuffer(self.data),)) if protocol >= 5 else (Array, (bytes(self.data),))
