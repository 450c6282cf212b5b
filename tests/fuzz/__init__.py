"""Fuzzing of every parser that takes bytes from outside: ``./dev fuzz`` explores, the tests repeat a fixed part of it.

``parser``    what a parser is to the fuzzer, and what counts as a find.
``mutation``  makes inputs out of good ones.
``judging``   runs inputs and finds crashes, hangs, memory and wrong accepts.
``registry``  all parsers; ``parsers`` says of each how it is called and what it may answer.
``guided``    the same parsers under atheris, which is led by coverage.
"""
