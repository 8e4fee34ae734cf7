"""Checks records by a model of pydantic. The interpreters of the tests have not got it either.

args: (([{"name": "Bern", "people": "134"}],), {})
native: unsafe
sandbox: raises ModuleNotFoundError containing pydantic
reported: https://github.com/bytecodealliance/componentize-py/issues/137: `import pydantic` failed in `pydantic_core`
"""


def validate_model(records):
    from pydantic import BaseModel

    class Town(BaseModel):
        name: str
        people: int

    return [Town(**record).people for record in records]
