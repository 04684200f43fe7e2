#include "daemon/rest/operation.hpp"

#include <utility>

#include "daemon/rest/problem.hpp"

namespace paretod {

Answer problem_answer(int status, std::string meaning) {
  return {status, std::move(meaning), "Problem", "application/problem+json"};
}

Route make_route(const Operation& operation) {
  const auto handle = [operation](const HttpRequest& request, const PathParameters& path) {
    const Result<QueryValues> query = read_query(operation.query, request.query);
    if (!query) return problem_response(query.error(), problem_types::bad_query);
    if (operation.body_schema.empty() && !request.body.empty()) {
      return problem_response(problem_types::bad_request, "This operation takes no body.");
    }
    if (operation.body_required && request.body.empty()) {
      return problem_response(problem_types::malformed_json, "The body is missing.");
    }
    return operation.handler({request, path, *query});
  };
  return {operation.method, operation.pattern, handle, operation.name, operation.body_limit};
}

HttpResponse json_response(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.body = std::move(body);
  return response;
}

}  // namespace paretod
