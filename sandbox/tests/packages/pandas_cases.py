"""What pandas gives natively and in the sandbox: see record.py."""

EXPRESSIONS = r"""
pd.__version__
frame.dtypes.astype(str).to_dict(), frame.shape, frame.index.dtype, len(frame.columns)
frame.head(3)
frame.describe().round(6).to_dict()
frame.groupby("kind")["value"].agg(["sum", "mean", "max"]).round(9).to_dict()
frame.groupby(["kind", "even"]).size().to_dict(), frame.groupby("kind").value.rank().sum()
frame.groupby("kind").apply(lambda part: part.value.iloc[-1]).to_dict(), frame.groupby("kind").value.transform("sum").head(3).tolist()
pd.read_csv(io.StringIO("day,place,n\n2024-01-02,Köln,1\n2024-01-03,,2.5\n"), parse_dates=["day"]).to_dict("list")
pd.read_csv(io.StringIO("a;b\n1,5;x\n"), sep=";", decimal=",").dtypes.astype(str).to_dict(), len(pd.read_csv(io.StringIO("a\n" * 50), chunksize=7).read())
[list(part.columns) for part in pd.read_csv(io.StringIO("a,b\n1,2\n3,4"), chunksize=1)], pd.read_csv(io.StringIO("a b\n1 2"), sep=r"\s+", engine="python").to_dict()
pd.read_csv(io.StringIO("a,b\n1\n2,3,4\n"))
(frame.head(2).to_csv(), frame.head(2).to_csv(text := io.StringIO(), index=False), text.getvalue())
frame.head(2).to_json(), pd.read_json(io.StringIO('[{"a": 1, "b": "x"}]')).to_dict("records"), frame.head(1).to_dict("records")
frame.head(4).merge(pd.DataFrame({"kind": ["a", "b"], "price": [1.5, 2]}), on="kind", how="left").price.tolist()
pd.merge_asof(pd.DataFrame({"t": [1, 5]}), pd.DataFrame({"t": [0, 4], "v": [10, 20]}), on="t").v.tolist()
frame.pivot_table(index="kind", columns="even", values="value", aggfunc="sum", margins=True).to_dict()
pd.crosstab(frame.kind, frame.even).to_dict()
frame.head(4).melt(id_vars="kind", value_name="x").shape
frame.head(4).stack().shape
pd.date_range("2024-03-30", periods=3, tz="Europe/Berlin").strftime("%Y-%m-%d %H:%M %z").tolist()
pd.Timestamp("2024-07-01 12:00", tz="Europe/Berlin").tz_convert("America/New_York"), pd.Timestamp("2024-07-01").day_name(), pd.Timestamp("2024-01-31") + pd.offsets.MonthEnd()
pd.to_datetime(["2024-01-01 12:00", "3 Feb 2024"], format="mixed").tolist(), pd.to_datetime("01/02/2024", dayfirst=True), pd.to_datetime(["x"], errors="coerce")[0]
pd.Series(range(48), pd.date_range("2024", periods=48, freq="h", tz="UTC")).tz_convert("Asia/Tokyo").resample("D").sum().to_dict()
pd.Series([1.0, 2], pd.DatetimeIndex(["2024-10-27 02:30", "2024-10-27 02:30"]).tz_localize("Europe/Berlin", ambiguous=[True, False])).index.tolist()
pd.Timedelta("1 days 02:03:04").total_seconds(), (pd.Timestamp("2024-03-01") - pd.Timestamp("2024-02-01")).days, pd.Period("2024-02", "M").end_time, pd.bdate_range("2024-01-05", periods=2).tolist()
pd.Timestamp("2024-01-01", tz="Nowhere/Land")
frame.value.rolling(3).mean().round(9).tail(2).tolist(), frame.value.ewm(span=3).mean().round(9).iloc[-1], frame.value.expanding().max().iloc[-1], frame.value.rolling(5).std().round(9).iloc[-1]
frame.kind.str.upper().head(2).tolist(), frame.kind.str.extract(r"(\w)").iloc[0, 0], pd.Series(["a,b"]).str.split(",").tolist(), frame.kind.dtype
frame.sort_values(["kind", "value"], ascending=[True, False]).value.head(3).tolist(), frame.nlargest(2, "value").value.tolist(), frame.drop_duplicates("kind").index.tolist()
frame.kind.astype("category").cat.codes.head(3).tolist(), pd.cut([1, 5, 9], 3).codes.tolist(), pd.qcut(range(8), 4).codes.tolist(), pd.get_dummies(["a", "b"]).to_dict()
frame.query("value > 20 and even").shape, frame.eval("value * 2").sum(), frame.loc[frame.value > 20, "kind"].tolist(), frame.set_index("kind").loc["b", "value"].sum()
frame.kind.value_counts().to_dict(), frame.kind.unique().tolist(), frame.kind.nunique(), frame.isin(["a"]).sum().to_dict(), frame.value.quantile([0.25, 0.5]).tolist()
pd.Series([1, None, 3]).fillna(0).tolist(), pd.Series([1, None, 3]).interpolate().tolist(), pd.array([1, None], "Int64").sum(), pd.NA is pd.NaT, pd.isna([None, 1]).tolist()
pickle.loads(pickle.dumps(frame)).equals(frame), pickle.loads(pickle.dumps(pd.Timestamp("2024", tz="UTC"))), copy.deepcopy(frame).equals(frame)
frame.value.apply(lambda x: x + 1).sum(), frame.value.map(str).iloc[1], pd.concat([frame, frame], ignore_index=True).shape, frame.T.shape, frame.corr(numeric_only=True).round(9).shape
pd.MultiIndex.from_product([["a", "b"], [1, 2]]).tolist(), pd.Series(range(4), pd.MultiIndex.from_product([["a", "b"], [1, 2]])).unstack().to_dict()
int(pd.IntervalIndex.from_breaks([0, 1, 2]).get_loc(0.5)), pd.Index([3, 1]).sort_values().tolist(), pd.RangeIndex(5).max(), pd.Index([1, 2]).get_indexer([2, 5]).tolist()
[pd.factorize(np.array(["b", "a", "b"], object))[0].tolist(), pd.util.hash_array(np.array([1, 2])).tolist(), frame.sample(3, random_state=1).index.tolist()]
pd.read_sql("select kind, sum(value) total from t group by kind", sql(frame)).to_dict("list"), frame.to_sql("u", sql(frame), index=False)
frame.head(2).to_string(), frame.head(1).to_html(index=False)
frame.missing
frame.loc["x"]
pd.testing.assert_frame_equal(frame, frame.copy()), pd.Series([1, 2]).to_numpy().dtype, pd.Series([1.5]).round().dtype
[(made := frame.head(4).reset_index()), made.insert(0, "z", 1), made.insert(2, "y", 2), made[["y", "value"]].sum().to_dict(), made.drop(columns="z").columns.tolist()][3:]
frame.groupby("kind").mean(numeric_only=True).reset_index().reset_index().groupby("kind").agg({"value": "sum", "index": "max"}).reset_index().to_dict("list")
[list(part.columns) for _, part in frame.groupby("kind", as_index=False).sum().groupby("even")], frame.groupby("kind", as_index=False).apply(lambda part: part.head(1)).to_csv()
int(frame.value.searchsorted(3, sorter=np.argsort(frame.value).to_numpy())), frame.set_index(["kind", "even"]).sort_index().reset_index(level=1).loc["a"].value.tolist()
pd.DataFrame({"n": np.arange(3)}).dtypes.astype(str).to_dict(), pd.DataFrame([{"a": 1}, {"b": 2.5}]).to_dict("list"), pd.DataFrame([[1, 2]]).sum(axis=1).tolist()
"""


def sql(frame):
    import sqlite3

    connection = sqlite3.connect(":memory:")
    frame.to_sql("t", connection, index=False)
    return connection


def f():
    import copy, io, pickle, warnings

    import numpy as np
    import pandas as pd

    warnings.simplefilter("ignore")
    frame = pd.DataFrame({"kind": list("abca") * 3, "value": [float(i * i % 31) for i in range(12)], "even": [i % 2 == 0 for i in range(12)]})
    return answers(EXPRESSIONS, {**globals(), **locals()})
