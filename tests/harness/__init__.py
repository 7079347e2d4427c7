"""Real processes for tests: started on ports of their own, and gone when the test is over.

configs.py      a configuration for some nodes, on reserved ports
cluster.py      its nodes, which a test kills, stops, pauses and starts by name
template.py     starts them in less time, as forks
programs.py     one program, started as from a shell; its lines and its end
logs.py         what a node has logged, as parsed entries
sockets.py      raw sockets that come to a port as no client would
waiting.py      waits for a condition

network.py      a proxy between nodes: splits, and slow and lossy ways
faulty_node.py  a node with a wrong clock, a slow disk, little memory, ...
small_disk.py   a disk that can be full
"""
