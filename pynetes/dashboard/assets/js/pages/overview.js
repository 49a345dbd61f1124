export async function show(place) { place.append("…"); }
