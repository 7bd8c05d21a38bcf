"""What must hold of every history, whatever came before what: pure functions from a history to a verdict.

All are sound: a broker that keeps its promises is never accused, however its calls overlapped, because a
checker goes by what was certain. A call had its effect between its beginning and its end; one whose end is
not known may have it at any time from its beginning on, or never. None of them is complete.
"""
