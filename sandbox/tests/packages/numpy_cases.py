"""What numpy gives natively and in the sandbox: see record.py."""

EXPRESSIONS = """
np.__version__
np.arange(3).dtype
np.array([1, 2]).dtype
np.array([1, 2]).sum().dtype
np.arange(3, dtype='i2').sum().dtype
(np.arange(100000) ** 2).max()
np.dtype(int), np.zeros(3, int).dtype, np.int_(3).dtype, np.iinfo(int).max
np.bincount([1, 1]).tolist(), np.cumsum([1, 2]).dtype, np.prod([1, 2]).dtype
np.unique(np.array([3, 1, 3])), np.unique(np.array(["x", "a", "x"]))
np.array(2**40).dtype, np.array([2**40]).dtype, (np.array([1], 'i4') + 1).dtype, np.floor_divide(7, 2).dtype
np.array([1.5]).astype(int).dtype, np.packbits([1, 0]).tolist(), np.trace(np.eye(2, dtype=int)).dtype
np.dot([1, 2], [3, 4]).dtype, np.einsum('i,i', [1, 2], [3, 4]).dtype, np.ones(3, bool).sum().dtype
np.repeat([1, 2], np.array([1, 2])).tolist(), np.take([1, 2], np.array([0, 1])).tolist(), np.choose([1, 0], [[1, 2], [3, 4]])
np.put(a := np.zeros(3), np.array([1]), 5), a
int(np.argmax([1, 3])), np.nonzero([0, 1])[0].tolist(), np.argsort([2, 1]).tolist(), int(np.searchsorted([1, 2], 2))
np.histogram([1, 2, 2])[0].tolist(), np.digitize([1], [0, 2]).tolist(), np.where([0, 1])[0].tolist(), int(np.count_nonzero([1]))
np.indices((2, 2)).dtype, np.mgrid[0:2].dtype
np.random.default_rng(1).integers(10, size=3).tolist(), np.random.default_rng(1).normal(size=2).tolist()
np.random.default_rng(1).permutation(5).tolist(), np.random.default_rng(1).choice(10, 3).tolist()
np.random.default_rng(1).multinomial(10, [0.2, 0.8]).tolist(), np.random.default_rng(1).hypergeometric(5, 5, 5, 3).tolist()
np.random.RandomState(1).randint(10, size=3).dtype, np.random.RandomState(1).poisson(3, size=3).tolist(), np.random.RandomState(1).rand(2).tolist()
[np.random.Generator(kind(1)).random() for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)]
np.linalg.inv(np.array([[2.0, 1], [1, 3]])).tolist(), np.linalg.solve(np.array([[3.0, 1], [1, 2]]), np.array([9.0, 8])).round(12).tolist()
np.linalg.svd(np.arange(6.0).reshape(2, 3))[1].round(12).tolist(), np.linalg.eigvalsh([[2.0, 0], [0, 3]]).tolist(), np.linalg.det(np.eye(3))
np.linalg.inv(np.zeros((2, 2)))
np.fft.rfft([1, 2, 3]).round(12).tolist(), np.fft.ifft(np.fft.fft([1, 2, 3, 4])).real.round(12).tolist()
(np.arange(12.0).reshape(3, 4) @ np.arange(12.0).reshape(4, 3)).tolist(), (np.arange(4, dtype='f4').reshape(2, 2) @ np.eye(2, dtype='f4')).dtype
np.array_equal(np.arange(70.0 * 90).reshape(70, 90) @ np.ones((90, 50)), np.arange(70 * 90).reshape(70, 90).sum(1, keepdims=True) * np.ones((1, 50)))
np.exp(1.5).item(), np.sin(1e5).item(), np.power(2.5, 3.1).item(), np.float32(1) / 3, np.log1p(1e-9).item()
np.longdouble(1).nbytes
copy.copy(np.float64(1)), copy.deepcopy(np.arange(2))
np.char.upper(np.array(["a", "b"])).tolist(), np.strings.find(np.array(["abc"]), "c").tolist()
np.datetime64("2024-01-01") + np.timedelta64(3, "D"), np.busday_count("2024-01-01", "2024-02-01")
np.ma.array([1, 2], mask=[0, 1]).sum(), np.polyfit([0, 1, 2], [1, 3, 5], 1).round(9).tolist()
np.load((b := io.BytesIO(), np.save(b, np.arange(3)), b.seek(0))[0]).tolist()
np.loadtxt(["1 2", "3 4"]).tolist(), np.array(["aa", "b"], dtype=np.dtypes.StringDType())
pickle.dumps(np.arange(3), 4).hex()
[pickle.loads(pickle.dumps(np.ones(2, kind))).dtype.str for kind in "?bhiqBHIQefdFD"]
np.testing.assert_allclose(1, 1.1)
np.zeros(1 << 20)[-1], np.zeros((2, 3)).T.shape, np.array([[1, 2], [3, 4]]).tolist()
int(np.searchsorted(np.array([3, 1, 2]), 2, sorter=np.array([1, 2, 0]))), np.searchsorted([3, 1, 2], 2, sorter=np.array([0.5, 1, 2]))
np.random.RandomState(3).binomial(np.array([5, 9]), 0.5).tolist(), np.random.RandomState(3).binomial(np.array([5, 9], "i4"), 0.5).tolist(), np.random.RandomState(3).binomial(5, 0.5)
np.random.RandomState(3).hypergeometric(np.array([5]), np.array([5]), np.array([3])).tolist(), np.random.RandomState(3).multinomial(np.int64(9), [0.5, 0.5]).tolist()
np.random.default_rng(3).binomial(np.array([5, 9]), 0.5).tolist(), np.random.default_rng(3).negative_binomial(np.array([5]), 0.5).tolist()
np.partition(np.array([3, 1, 2, 5]), np.array([1, 2])).tolist(), np.array_split(np.arange(9), np.array([2, 5]))[1].tolist(), np.roll(np.eye(2), np.array([1, 1]), axis=(0, 1)).tolist()
np.pad(np.arange(3), np.array([1, 2])).tolist(), np.tile(np.arange(2), np.array([2, 2])).tolist(), np.reshape(np.arange(4), np.array([2, 2])).tolist(), np.transpose(np.zeros((2, 3)), np.array([1, 0])).shape
np.unravel_index(np.array([5]), (2, 3))[0].tolist(), np.ravel_multi_index((np.array([1]), np.array([2])), (2, 3)).tolist(), np.choose(np.array([0, 1]), [np.array([1, 2]), np.array([3, 4])]).tolist()
np.insert(np.arange(4), np.array([1, 2]), 9).tolist(), np.delete(np.arange(4), np.array([1, 2])).tolist(), np.strings.slice(np.array(["abc"]), np.array([1]), np.array([2])).tolist()
np.array([3, 1, 2])[np.array([2, 0])].tolist(), np.sort(np.array([3.0, np.nan, 1])).tolist(), np.lexsort(([1, 0], [1, 1])).tolist()
"""


def f():
    import copy, io, pickle
    import numpy as np

    return answers(EXPRESSIONS, {**globals(), **locals()})
