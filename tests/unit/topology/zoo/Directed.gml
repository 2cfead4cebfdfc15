graph [
  directed 1
  label "Directed"
  node [
    id 0
    label "Graz"
    Longitude 15.45
    Internal 1
    Latitude 47.07
  ]
  node [
    id 1
    label "Linz"
    Longitude 14.29
    Internal 1
    Latitude 48.31
  ]
  node [
    id 2
    label "lab"
    Internal 1
  ]
  edge [
    source 0
    target 1
    LinkLabel "10 Gbps"
  ]
  edge [
    source 1
    target 0
    LinkLabel "10 Gbps"
  ]
  edge [
    source 1
    target 2
  ]
  edge [
    source 2
    target 1
  ]
]
