"""QONNX files in and out.

Reading: ``importer`` walks the ``graph``, ``operators`` change the ``state``, ``affine`` is their
arithmetic. Writing: ``exporter`` calls the ``writers``, which fill a ``graph_writer``. Both sides
know the ``metadata``. ``oracle`` runs a file by the ``qonnx`` package's own executor.
"""
