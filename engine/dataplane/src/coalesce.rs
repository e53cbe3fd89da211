//! Merges packets of one flow that arrived in one batch into superpackets (data-plane.md section 4.4).
