"""Passes from a network to one of native layers, in their order; see :mod:`bamac.compiler.native`.

===================  ===============================================================================
:mod:`.arrangement`  what the first layer cannot walk becomes an arrangement of the input's values
:mod:`.strides`      strides of 4 and more become several
:mod:`.pools`        pools larger than the tile become several
:mod:`.heads`        maps that a dense layer reads become vectors, where the array needs it
:mod:`.stages`       branches become a chain: which layers are computed beside each other
:mod:`.signals`      levels become bits, groups and dilation zeros; branches travel as channels
:mod:`.chain`        native layers, with copies of channels where a weight is beyond 127
===================  ===============================================================================
"""
