#include "optimizers/crowding_survival.hpp"

#include <limits>

#include "optimizers/core/front.hpp"

namespace paretod {

std::size_t CrowdingSurvival::worst(const RankedPopulation& population) {
  distances_.assign(population.size(), 0);
  std::vector<std::size_t> front;
  std::vector<std::vector<double>> points;
  for (std::size_t rank = 0; rank <= population.worst_rank(); ++rank) {
    front.clear();
    points.clear();
    for (std::size_t i = 0; i < population.size(); ++i) {
      if (population.rank(i) != rank) continue;
      front.push_back(i);
      points.push_back(population[i].objectives);
    }
    const std::vector<double> distances = crowding_distances(points);
    for (std::size_t i = 0; i < front.size(); ++i) distances_[front[i]] = distances[i];
  }
  std::size_t worst = front.back();
  for (const std::size_t i : front) {
    if (distances_[i] < distances_[worst]) worst = i;
  }
  return worst;
}

void CrowdingSurvival::removed(std::size_t i) {
  distances_[i] = distances_.back();
  distances_.pop_back();
}

bool CrowdingSurvival::prefers(std::size_t a, std::size_t b) const {
  return distance(a) > distance(b);
}

double CrowdingSurvival::distance(std::size_t i) const {
  return i < distances_.size() ? distances_[i] : std::numeric_limits<double>::infinity();
}

}  // namespace paretod
